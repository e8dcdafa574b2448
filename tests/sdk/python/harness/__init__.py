"""What every suite needs: a server process, a raw client that signs by itself, SDK clients.

Nothing here knows what the service should answer; the tests do.
"""
