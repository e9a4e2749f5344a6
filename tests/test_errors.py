import pytest

from adaptive_spec.errors import AdaptiveSpecError, DeviceMemoryError, is_out_of_memory


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        DeviceMemoryError("too large"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes"),
        RuntimeError("MPS backend out of memory"),
        type("OutOfMemoryError", (RuntimeError,), {})("CUDA error"),
    ],
)
def test_what_says_that_memory_ran_out(error: Exception) -> None:
    assert is_out_of_memory(error)


def test_what_does_not() -> None:
    for error in (RuntimeError("shapes differ"), ValueError("out of memory"), OSError()):
        assert not is_out_of_memory(error)


def test_memory_errors_are_ours_and_python_s() -> None:
    assert issubclass(DeviceMemoryError, AdaptiveSpecError)
    assert issubclass(DeviceMemoryError, MemoryError)
