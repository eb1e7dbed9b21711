"""A small driving world in KITTI's format, with exact labels: what tests and demonstrations use where no download is at hand.

``scene`` says what stands and moves where, ``shapes`` of what blocks it is made, ``rig`` where the sensors are, ``raycast``
what they meet, ``lidar`` and ``camera`` what they measure, ``annotation`` what a labeller would write, ``world`` the files.
Reading and judging data is not here: that is ``mlops_assets.data.kitti``, which the world is written with.
"""
