"""The checks of scikit-learn that run where all would take long: each compiles for shapes of its own."""

ESSENTIAL = (
    "check_estimator_repr",
    "check_no_attributes_set_in_init",
    "check_estimators_nan_inf",
    "check_estimators_pickle",
    "check_fit2d_1sample",
    "check_dataframe_column_names_consistency",
)
