"""A search with the methods of scikit-learn's classifiers; scikit-learn itself is not needed."""

import dataclasses
import importlib
import inspect
import warnings
from typing import Any, Self, Unpack

import numpy as np
from numpy.typing import ArrayLike

from jnas._search.api import search
from jnas._search.config import SearchConfig, SearchOptions, check_names, setting_parameters
from jnas._search.result import SearchResult
from jnas._validation import refuse, to_bool
from jnas.data import Fit, convert_images, load_data
from jnas.errors import JnasError


class Classifier:
    """A search for images and labels of any kind, with the methods of scikit-learn's classifiers.

    Args:
      verbose: whether to print how the search goes.
      **options: settings of the search, such as `minutes=10`, by the names of `SearchConfig`.

    Attributes:
      classes_: the labels, sorted, in the order of the columns of `predict_proba`.
      result_: what the search found.

    Example:
      >>> import jnas
      >>> classifier = jnas.Classifier(minutes=10).fit(x, y)  # doctest: +SKIP
      >>> classifier.predict(x)  # doctest: +SKIP
    """

    classes_: np.ndarray
    result_: SearchResult

    def __init__(self, verbose: bool = False, **options: Unpack[SearchOptions]) -> None:
        check_names(options)
        self._params: dict[str, Any] = {"verbose": verbose, **options}

    def fit(self, x: ArrayLike, y: ArrayLike) -> Self:
        """Searches for the best network for images, as `load_data` takes them, and returns the classifier.

        Raises:
          JnasError: if they are no labelled images, or no network could be trained.
        """
        verbose = to_bool("verbose", self._params["verbose"])
        config = SearchConfig(**{name: value for name, value in self._params.items() if name != "verbose"})
        labels = _to_labels("y", y)
        classes, numbers = np.unique(labels, return_inverse=True)
        arrays = {"x_train": x, "y_train": numbers, "class_names": [str(one) or "(none)" for one in classes]}
        data = load_data(arrays, config.classes, size=config.size, fit=config.fit)
        # These say for other images what the pixels of training mean, and whether they may have other sizes.
        self._samples = _extremes(x)
        self._size = None if config.size is None and isinstance(self._samples, np.ndarray) else data.x_train.shape[1:3]
        self._fit: Fit = config.fit
        self.classes_ = classes
        config = dataclasses.replace(config, classes=None, size=None)
        self.result_ = search(data, config, verbose=verbose)
        return self

    def predict(self, x: ArrayLike) -> np.ndarray:
        """Returns the label of each of some images, which are of the kind that `fit` was given."""
        best = self._best()
        return self.classes_[best.predict(self._convert(x))]

    def predict_proba(self, x: ArrayLike) -> np.ndarray:
        """Returns the probabilities `[N, classes]` of the labels of some images, in the order of `classes_`."""
        best = self._best()
        return best.predict_proba(self._convert(x))

    def score(self, x: ArrayLike, y: ArrayLike) -> float:
        """Returns the accuracy on some images: the fraction whose label is predicted."""
        labels, predicted = _to_labels("y", y), self.predict(x)
        if len(labels) != len(predicted) or not len(labels):
            refuse("y", f"one label for each of {len(predicted):,} images, at least one", y)
        return float((labels == predicted).mean())

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Returns all settings by name; `deep` changes nothing, as none of them has settings of its own."""
        to_bool("deep", deep)
        defaults = {field.name: field.default for field in dataclasses.fields(SearchConfig) if field.name != "data"}
        return defaults | self._params

    def set_params(self, **params: Any) -> Self:
        """Changes settings, and returns the classifier."""
        check_names(name for name in params if name != "verbose")
        self._params |= params
        return self

    def __sklearn_tags__(self) -> Any:
        utils = importlib.import_module("sklearn.utils")
        return utils.Tags(
            estimator_type="classifier",
            target_tags=utils.TargetTags(required=True),
            classifier_tags=utils.ClassifierTags(),
            input_tags=utils.InputTags(two_d_array=False, three_d_array=True),
        )

    def _best(self) -> Any:
        if not hasattr(self, "result_"):
            raise JnasError("A Classifier must be fitted before it predicts, got one that is not; call fit(x, y).")
        return self.result_.best

    def _convert(self, x: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of axes, which `fit` has warned of
            images, _ = convert_images("your arrays", {"x_train": self._samples, "x": x}, self._size, self._fit)
        return images["x"]

    def __repr__(self) -> str:
        return f"Classifier({', '.join(f'{name}={value!r}' for name, value in self._params.items())})"


def _signature() -> inspect.Signature:
    """The signature with the settings by name, which `help` and scikit-learn read."""
    own = [one for one in inspect.signature(Classifier.__init__).parameters.values() if one.name != "options"]
    return inspect.Signature([*own, *setting_parameters()])


Classifier.__init__.__signature__ = _signature()  # pyright: ignore[reportFunctionMemberAccess]


def _to_labels(name: str, labels: Any) -> np.ndarray:
    """Returns labels as an array of one axis whose values can be sorted."""
    try:
        array = np.asarray(labels)
        array = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
        array = array.astype(str) if array.dtype.kind == "O" and all(isinstance(one, str) for one in array) else array
    except (TypeError, ValueError, RuntimeError):
        array = np.zeros(())
    is_whole = array.dtype.kind in "biuUS" or (array.dtype.kind == "f" and bool((array == np.floor(array)).all()))
    if array.ndim != 1 or not is_whole:
        refuse(name, "one word or whole number for each image", labels)
    return array


def _extremes(images: Any) -> Any:
    """Returns the images with the lowest and with the highest pixel; what is no array as it is."""
    try:
        array = np.asarray(images)
    except (TypeError, ValueError, RuntimeError):  # of several sizes
        return images
    if array.ndim < 2 or not array.size or array.dtype.kind not in "uifb":
        return images
    flat = array.reshape(len(array), -1)
    return array[[int(flat.min(1).argmin()), int(flat.max(1).argmax())]]
