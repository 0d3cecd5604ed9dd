"""NAFNet on photographs that a pipeline of mmcv degrades: five degradations, one of them a sample.

All else is options/5d/scratch_nafnet_5d.yml. For your own: `dataroot_gt`, and the transforms.
"""

custom_imports = dict(imports=["dcpt_mmengine"], allow_failed_imports=False)
default_scope = "dcpt"
work_dir = "experiments/scratch_nafnet_pipeline"

pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="CropSquare", size=128),
    dict(
        type="RandomChoice",
        transforms=[
            [dict(type="Degrade", degradation="haze")],
            [dict(type="Degrade", degradation="rain")],
            [dict(type="Degrade", degradation="noise", sigma=[15, 50])],
            [dict(type="Degrade", degradation="motion_blur")],
            [dict(type="Degrade", degradation="low_light")],
        ],
    ),
    dict(type="PackPair"),
]
photographs = dict(
    type="PipelineDataset",
    dataroot_gt="datasets/photographs",
    pipeline=pipeline,
    batch_size_per_gpu=8,
    num_worker_per_gpu=4,
)
model = dict(
    type="MethodModel",
    options="{{ fileDirname }}/../5d/scratch_nafnet_5d.yml",
    changes=dict(
        name="scratch_nafnet_pipeline",
        datasets=dict(_delete_=True, train=photographs),  # without validation, which is of published sets
        logger=dict(keep_best=None),
    ),
)

train_cfg = dict(type="MethodLoop")
train_dataloader = dict()
optim_wrapper = dict(constructor="MethodOptimizers")

vis_backends = [dict(type="LocalVisBackend"), dict(type="TensorboardVisBackend")]
visualizer = dict(type="Visualizer", vis_backends=vis_backends)
default_hooks = dict(checkpoint=None)
log_processor = dict(by_epoch=False)
