# What every run shares: runner, hooks, logging, randomness.
default_scope = 'mscmreid'
runner_type = 'mscmreid.ReIDRunner'  # found by RUNNERS.build(cfg) in any script

default_hooks = dict(
    runtime_info=dict(type='DeferredScalarsHook'),
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    # epoch_N.pth of the last two epochs, best_*.pth of the best one: Rank-1 of the validation's first protocol, feature
    checkpoint=dict(type='SafeCheckpointHook', interval=1, max_keep_ckpts=2, save_best='reid/R1', rule='greater'),
)
custom_hooks = [
    dict(type='ReproducibleHook'),
    dict(type='SyncBuffersHook'),  # several processes: one set of batch-norm statistics at the end of an epoch
]

env_cfg = dict(cudnn_benchmark=True, dist_cfg=dict(backend='nccl'))  # gloo where there is no GPU
randomness = dict(seed=0, deterministic=False)

log_level = 'INFO'
log_processor = dict(type='ReIDLogProcessor', window_size=50)
# scalars go to vis_data/scalars.json, and to TensorBoard where it is installed
visualizer = dict(
    type='Visualizer',
    vis_backends=[dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')],
)

load_from = None
load_strict = True  # False: load_from may lack weights or have others (what is left out is logged)
resume = False
