"""rl.runtime"""
