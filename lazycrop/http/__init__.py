"""Requests and answers without a framework: what headers ask for, what outcomes say, answers given a moment ago."""
