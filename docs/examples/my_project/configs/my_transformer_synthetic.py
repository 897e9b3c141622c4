# A transformer of this project in the place of AGW's network, on synthetic people: shows how, promises nothing.
_base_ = '../../../../configs/agw_synthetic.py'
custom_imports = dict(imports=['my_method'], allow_failed_imports=False)

model = dict(
    backbone=dict(_delete_=True, type='PatchTransformer', image_size={{_base_.image_size}}),
    neck=dict(pool=dict(_delete_=True, type='ClassToken')),
    head=dict(losses=dict(wrt=None, triplet=dict(type='BatchHardTripletLoss', start_iter=100, ramp_iters=200))),
)
