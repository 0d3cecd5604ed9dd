"""What other programs import stays importable, wherever it moves."""

from importlib import import_module

import pytest

NAMES = {
    "dcpt_arch": "AdaIR DCPTSwinIR DegradationClassifier FeatureInfo NAFNet PromptIR RestorationBackbone Restormer "
    "ViTDegradationClassifier VimDegradationClassifier XRestormer",
    "dcpt_arch.checkpoints": "CheckpointError compare detect_family find_weights load_network read_checkpoint "
    "to_our_layout to_published_layout",
    "dcpt_common": "CLEAN JOIN PARTIAL Count Natural NotNegative Positive Range Seed closest import_extension "
    "import_modules nearest partial_path sha256 to_json wait_briefly write_atomically",
    "dcpt_data": "DataError DegradationDataset DegradationMixtureDataset build_train_loader build_val_loaders "
    "check_folders",
    "dcpt_data.degradations": "CLEAN DEGRADATIONS check_parameters degradation_names degrade degrade_batch "
    "degrade_for_evaluation draw draw_whole evaluation_defaults labels register_degradation",
    "dcpt_data.degradations.registry": "Image Range Rng draw draw_whole register_degradation",
    "dcpt_data.images": "list_images list_names open_image read_image stem to_float to_uint8 write_image",
    "dcpt_models": "BinaryFocalLoss DCGuidedModel DCPTModel DCTrainModel FocalLoss MaskedDCPTModel MultiLabelDCPTModel "
    "OptionError PSNRLoss RestorationModel",
}
REGISTERED = {
    "ARCH": "AdaIR XRestormer NAFNet Restormer PromptIR DCPTSwinIR DegradationClassifier ViTDegradationClassifier "
    "VimDegradationClassifier",
    "MODEL": "DCPTModel RestorationModel DCGuidedModel DCTrainModel MaskedDCPTModel MultiLabelDCPTModel",
    "LOSS": "FocalLoss BinaryFocalLoss PSNRLoss FrequencyL1Loss",
    "DATASET": "DegradationDataset DegradationMixtureDataset",
}


@pytest.mark.parametrize("module", NAMES)
def test_names_are_importable(module: str) -> None:
    found = import_module(module)
    assert [name for name in NAMES[module].split() if not hasattr(found, name)] == []


@pytest.mark.parametrize("registry", REGISTERED)
def test_names_are_registered_by_importing_the_packages(registry: str) -> None:
    for package in ("dcpt_arch", "dcpt_models", "dcpt_data"):
        import_module(package)
    found = getattr(import_module("basicsr.utils.registry"), f"{registry}_REGISTRY")
    assert [name for name in REGISTERED[registry].split() if name not in found] == []
