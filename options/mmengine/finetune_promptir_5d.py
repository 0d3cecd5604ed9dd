"""Fine-tuning of PromptIR on five degradations, from the encoder that was pre-trained, by mmengine's Runner.

The recipe is options/finetune_promptir_5d.yml. `changes` replaces what is in it, for example
changes=dict(train=dict(total_iter=1000)).
"""

custom_imports = dict(imports=["dcpt_mmengine"], allow_failed_imports=False)
default_scope = "dcpt"
work_dir = "experiments/finetune_promptir_5d"

model = dict(type="MethodModel", options="{{ fileDirname }}/../finetune_promptir_5d.yml", changes=dict())

# Data, optimisers, schedules, validation and checkpoints are those of the option file.
train_cfg = dict(type="MethodLoop")
train_dataloader = dict()
optim_wrapper = dict(constructor="MethodOptimizers")

vis_backends = [dict(type="LocalVisBackend"), dict(type="TensorboardVisBackend")]
visualizer = dict(type="Visualizer", vis_backends=vis_backends)
default_hooks = dict(checkpoint=None)
log_processor = dict(by_epoch=False)
