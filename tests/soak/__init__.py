"""The soak: a whole deployment on real servers, with faults and clients from one seed; ``make soak``.

``pictures`` says which picture is which, ``site`` starts the processes, ``faults`` breaks them by a plan, ``ledger``
knows what may be seen at each moment, ``clients`` ask and look, ``ending`` goes through all that is left, ``report``
judges.
"""
