"""Three kinds, by what they may touch.

unit: one module, no network but loopback servers of their own.
integration: the real handlers with the events of `events/`, moto as AWS and the stand-in gateway, all over real HTTP on
loopback; time is a clock that the tests move.
e2e: the real template, deployed by the SAM CLI to the local stack.
"""
