"""Who may ask for what: the policy of sizes and formats, signatures, and the one decision made of them."""
