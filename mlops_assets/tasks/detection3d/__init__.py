"""3D detection from LiDAR clouds: voxels, augmentation, figures, detectors."""
