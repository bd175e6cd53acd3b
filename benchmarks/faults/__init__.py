"""Campaigns of faults on the emulated arm: each program does a counted amount of work and fails when it did less."""
