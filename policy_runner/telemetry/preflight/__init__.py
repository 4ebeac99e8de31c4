"""Checks of a host before a policy runs on it: what makes a control loop late, and what helps.

Base: `advice`. Entry point: `check_host`. All other files are one subject each.
"""
