"""The studies that come with nosce: one package a study, each with a `study.py` that reads like a method section."""

#: Where the function of each study stands, as `MODULE:FUNCTION`.
BUILT_IN = {
    "biographies": "nosce.studies.biographies.study:study",
    "biographies_adamw": "nosce.studies.biographies.controls:adamw",
    "biographies_packed": "nosce.studies.biographies.controls:packed",
    "biographies_variants": "nosce.studies.biographies.study:variants",
    "diaries": "nosce.studies.diaries.study:study",
    "emergence": "nosce.studies.emergence.study:study",
    "introspection": "nosce.studies.introspection.study:study",
    "karel": "nosce.studies.karel.study:study",
}

#: Where the function of each study that starts from models of one's own stands, as `MODULE:FUNCTION`.
MODEL_STUDIES = {
    "biographies": "nosce.studies.biographies.pretrained:study",
    "diaries": "nosce.studies.diaries.pretrained:study",
    "emergence": "nosce.studies.emergence.asked.study:study",
    "introspection": "nosce.studies.introspection.asked:study",
    "karel": "nosce.studies.karel.pretrained:study",
}

#: Where the sizes stand from which `--budget` takes the largest that fits, as `MODULE:VARIABLE`.
BUDGET_LADDERS = {
    "biographies": "nosce.studies.biographies.pretrained:BUDGET_LADDER",
    "diaries": "nosce.studies.diaries.pretrained:BUDGET_LADDER",
    "karel": "nosce.studies.karel.pretrained:BUDGET_LADDER",
    "emergence": "nosce.studies.emergence.asked.config:BUDGET_LADDER",
    "introspection": "nosce.studies.introspection.asked:BUDGET_LADDER",
}

#: Where the configurations of these stand, by scale, as `MODULE:VARIABLE`.
MODEL_CONFIGS = {
    "biographies": "nosce.studies.biographies.pretrained:PRETRAINED_BIOGRAPHIES_CONFIGS",
    "diaries": "nosce.studies.diaries.pretrained:PRETRAINED_DIARIES_CONFIGS",
    "emergence": "nosce.studies.emergence.asked.config:ASKED_EMERGENCE_CONFIGS",
    "introspection": "nosce.studies.introspection.asked:PROMPTED_INTROSPECTION_CONFIGS",
    "karel": "nosce.studies.karel.pretrained:PRETRAINED_KAREL_CONFIGS",
}

#: Where the configurations of each study stand, by scale, as `MODULE:VARIABLE`.
CONFIGS = {
    "biographies": "nosce.studies.biographies.scales:BIOGRAPHIES_CONFIGS",
    "biographies_adamw": "nosce.studies.biographies.scales:CORE_CONFIGS",
    "biographies_packed": "nosce.studies.biographies.scales:CORE_CONFIGS",
    "biographies_variants": "nosce.studies.biographies.scales:VARIANTS_CONFIGS",
    "diaries": "nosce.studies.diaries.config:DIARIES_CONFIGS",
    "emergence": "nosce.studies.emergence.config:EMERGENCE_CONFIGS",
    "introspection": "nosce.studies.introspection.config:INTROSPECTION_CONFIGS",
    "karel": "nosce.studies.karel.config:KAREL_CONFIGS",
}
