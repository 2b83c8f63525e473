"""A signal that arrives while a process is started waits, is not lost, and reaches no child half-way."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from nosce.store.signals import held_signal

PROGRAM = """
import os, signal, subprocess, sys, threading, time

from nosce.store.signals import held_signal
threading.Thread(target=time.sleep, args=(3,), daemon=True).start()  # a thread to which the signal may go as well
try:
    with held_signal(signal.SIGINT, children_ignore=True):
        print("held", flush=True)
        time.sleep(0.5)
        program = "import time; time.sleep(0.7); print('child ends', flush=True)"
        child = subprocess.Popen([sys.executable, "-c", program])
        os.kill(child.pid, signal.SIGINT)
        print("end of block", flush=True)
except KeyboardInterrupt:
    print("interrupted", child.wait(), flush=True)
"""


def test_an_interrupt_waits_and_the_child_minds_none():
    """Also where the signal comes while another thread runs."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (out, err) == ("end of block\nchild ends\ninterrupted 0\n", "")


def test_the_handler_is_put_back_and_nothing_is_made_up():
    before = signal.getsignal(signal.SIGTERM)
    with held_signal(signal.SIGTERM):
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_handler_of_ones_own_is_called_once_at_the_end():
    called = []
    before = signal.signal(signal.SIGUSR1, lambda *_: called.append(time.monotonic()))
    try:
        with held_signal(signal.SIGUSR1):
            for _ in range(3):
                os.kill(os.getpid(), signal.SIGUSR1)
            assert not called
        assert len(called) == 1
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_another_thread_holds_nothing():
    """Python sets handlers in the main thread alone."""
    failed = []

    def hold():
        try:
            with held_signal(signal.SIGTERM):
                pass
        except ValueError as error:  # what signal.signal says
            failed.append(error)

    thread = threading.Thread(target=hold)
    thread.start()
    thread.join()
    assert not failed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_error_in_the_block_comes_out(number):
    with pytest.raises(ZeroDivisionError), held_signal(number):
        raise ZeroDivisionError
