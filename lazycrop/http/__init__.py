"""Requests and answers without a framework: what headers ask for, what each outcome says, answers given a moment ago."""
