"""What ``manage.py demo`` does: start the demo's processes, watch them, and end them.

Nothing here is for a project to copy: what is, stands beside this folder and needs none of it.
"""
