# Synthetic people in SYSU-MM01's layout, drawn by: python tools/make_synthetic.py data/synthetic --layout sysu
# The folder: data/synthetic, or --cfg-options data_root=FOLDER.
_base_ = './sysu.py'
image_size = (96, 48)  # height, width
data_root = 'data/synthetic'

train_dataloader = dict(
    num_workers=0,  # the images are small and decoded once; a worker would cost more than it saves
    batch_sampler=dict(num_ids=12, num_instances=2),
    dataset=dict(name='synthetic', check_counts=False),
)
val_dataloader = dict(batch_size=128, num_workers=0, dataset=dict(name='synthetic', check_counts=False))
test_dataloader = val_dataloader
