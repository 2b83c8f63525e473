"""What `nosce` of conftest runs is the installed command, and no other process sees its surroundings."""

import os
import signal

import pytest


@pytest.mark.whole
@pytest.mark.parametrize("words", [("--version",), ("list", "--nope"), ("list", "--json"), ("run", "nothing.py:study")])
def test_a_forked_command_says_and_does_what_the_installed_one_does(nosce, tmp_path, words):
    """The same streams, exit code and files, from an environment and a folder of its own."""
    seen = []
    for name, command in (("forked", nosce), ("new", nosce.anew)):
        folder = tmp_path / name
        folder.mkdir()
        ended = command(*words, cwd=folder, NOSCE_STORE="named by the environment")
        files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
        seen.append((ended.returncode, ended.stdout, ended.stderr.replace(str(folder), "here"), files))
    assert seen[0] == seen[1]
    assert words[-1] != "--json" or any("named by the environment" in path for path in seen[0][3])


def test_a_forked_command_leads_a_group_and_is_killed_with_it(nosce, little, tmp_path):
    """Its signals reach no test, and it has ended when it is waited for."""
    process = nosce.start("run", little("one_arm"), "--scale", "smoke", "--store", tmp_path / "s")
    assert os.getpgid(process.pid) == process.pid != os.getpgrp()
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)
