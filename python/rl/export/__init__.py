"""rl.export"""
