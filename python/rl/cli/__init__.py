"""rl.cli"""
