"""fairstep: is optimizer A better than B, when both are tuned fairly?"""
