"""The studies that come with nosce: one package a study, each with a `study.py` that reads like a method section."""

#: Where the function of each study stands, as `MODULE:FUNCTION`.
BUILT_IN = {
    "biographies": "nosce.studies.biographies.study:study",
    "biographies_adamw": "nosce.studies.biographies.controls:adamw",
    "biographies_packed": "nosce.studies.biographies.controls:packed",
    "diaries": "nosce.studies.diaries.study:study",
    "emergence": "nosce.studies.emergence.study:study",
    "introspection": "nosce.studies.introspection.study:study",
    "karel": "nosce.studies.karel.study:study",
}
