"""rl.train"""
