"""The control session: one way in which a leader, a policy or a recording moves a robot, and always ends."""
