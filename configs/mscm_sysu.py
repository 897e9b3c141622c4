# MSCMNet on SYSU-MM01. Published (single-shot, mean of 10 gallery draws, feature after the BN neck): all-search
# Rank-1 78.53, mAP 74.20, mINP 61.29; indoor-search Rank-1 83.00, mAP 85.54 (arXiv 2311.14395, table 1).
# As published, the best epoch is chosen on the test set (Rank-1 of the first gallery draw); mscm_sysu_val.py does not.
_base_ = [
    './_base_/datasets/sysu.py',
    './_base_/models/mscm.py',
    './_base_/schedules/mscm.py',
    './_base_/default_runtime.py',
]
image_size = (384, 192)  # height, width
model = dict(head=dict(num_classes=395))
