# Two commands do everything on a fresh machine with Python 3.11 or newer:
#   make demo   the main job on the embedded data set and model
#   make test   the tests
# Before a change of what they test (so far: compressed-tensors reads our files) the slow ones, with packages of their own:
#   make test-extras   the tests marked `extras`, which `make test` skips
# Another runs with the Python and the torch (2.4 or newer) of a machine with a CUDA device, and installs nothing:
#   make gpu    the tests that are for a device, and YOLOv5n's AP and speed on it
PYTHON ?= python3
VENV := .venv
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif

.PHONY: demo test test-extras gpu lint types reference demo-weights clean

demo: $(VENV)/installed
	$(BIN)/compressor apply recipes/demo.yaml --output runs/demo --force

test: lint types
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

test-extras: $(VENV)/extras
	$(BIN)/python -m pytest -m extras

gpu:
	$(PYTHON) scripts/gpu.py

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/installed
	$(BIN)/mypy

# Rewrites the generated pages (docs/reference, docs/cookbook.md) and the JSON Schema of recipes.
reference: $(VENV)/installed
	$(BIN)/python scripts/reference.py

# Retrains the embedded model on the embedded data set, with the seed it was shipped with.
demo-weights: $(VENV)/installed
	$(BIN)/python scripts/train_shapes.py compressor/data/weights/yolov5_shapes.safetensors

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	$(BIN)/python -c "open('$(VENV)/installed', 'w').close()"

$(VENV)/extras: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet -c constraints.txt --group extras
	$(BIN)/python -c "open('$(VENV)/extras', 'w').close()"

clean:
	$(PYTHON) -c "import shutil; [shutil.rmtree(d, ignore_errors=True) for d in ('$(VENV)', 'runs', '.mypy_cache', '.ruff_cache', '.pytest_cache')]"
