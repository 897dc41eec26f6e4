"""`python -m tools.least_privilege`: does every function need every permission of its role?"""
