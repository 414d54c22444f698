"""labkit: the README of a lab is its test.

What a lab author needs
=======================
A lab is a folder with a ``README.md``, small scripts, a ``compose.yaml`` and one test file::

    from pathlib import Path
    import pytest
    from labkit import LabRun, Readme, Section

    README = Readme(Path(__file__).with_name("README.md"))

    @pytest.mark.parametrize("section", README.sections, ids=str)
    def test_section(section: Section, lab_run: LabRun) -> None:
        lab_run(section)                       # every command of the section, in order

    def test_listings_are_true() -> None:
        README.check_listings()                # every listing is an excerpt of a file

Give the test file a name of its own (``test_lab02.py``); test folders are no packages here.

One ``##`` section of the README that contains commands becomes one test. Sections must not depend
on each other, except on the lab's server, which runs before each of them (a killed one is started
again). Commands run with bash in the lab's folder. ``NATS_URL`` names the server, ``python`` is the
Python that runs pytest, ``COLUMNS`` is 80. Where a command or an output says ``127.0.0.1:4222`` or
``127.0.0.1:8222`` (or ``localhost``), the runner puts the lab server's real port, so the text can
use the usual ports while tests use free ones.

Console blocks
--------------
The first word after the fence is the language, the others steer the runner (readers of the rendered
page don't see them)::

    ```console
    $ python publish.py greet.ann hello
    Published to greet.ann
    ```

A line ``$ COMMAND`` starts a command (a line that ends in ``\\`` goes on in the next), all other
lines are its expected output, standard error included. The whole output must match. ``...`` inside
a line stands for any text, a line ``...`` for any number of lines (none too). Words on the fence:

``terminal=1``   which terminal types this. A block without any ``$`` line is further output of the
                 command that still runs in that terminal.
``running``      the last command keeps running; the block is done as soon as its output is there.
                 So print "Listening" only when it is true: after ``await nc.flush()``, twice:
                 the PING of nats-py's (2.16) first flush overtakes a SUB that still waits in its
                 buffer, so only the second answer proves that the server knows the subscription.
``^C``           (a line of the block, as a terminal shows it) interrupts the running command; the
                 lines after it are the rest of its output, and then it must end with ``exit``.
``ends``         on a block without ``$``: after this output the running command ends by itself.
                 Every command must have ended (``^C``, ``ends``) at the end of its section.
``exit=1``       the exit code of the last command; 0 without this word. Death by signal is 128+N.
``any-order``    the block's output lines may come in any order (no ``...`` lines here).
``needs=X,Y``    leave the block out, and report that, where X is missing. X is ``docker`` (the lab
                 runs on Docker), ``binary`` (there is a ``stonechat-server``), ``stonechat`` (the
                 Python module), ``image:NAME`` (Docker has that image), or else the name of a
                 program (``go``, ``curl``).
``server=kill``  with Docker the block runs as it is written (``docker compose kill``); without, the
                 lab's server is killed in the same place. ``server=restart`` likewise.
``fresh-ports``  the command starts a server of its own: every 4222 and 8222 in it and in its output
                 stands for a free port. Holds in this terminal until that command has ended.
``timeout=90``   seconds until a step counts as hung; 30 without this word. Nothing is ever slept.

Listings
--------
A ``python``, ``go``, ``yaml`` or ``conf`` block says ``file=PATH`` and must be an excerpt of that
file of the lab: the same lines in the same order. Blank lines don't count, nor does the indentation
of the whole. A line that holds nothing but ``...`` (after ``#`` or ``//`` if you like) skips lines
of the file. Other languages (``text``, ``mermaid``, ``json``, ``sh``) are free text.

Fixtures (``tutorials/conftest.py``)
------------------------------------
``lab_server``   module scope; a `LabServer`: ``url``, ``monitor_url``, ``kind``, ``kill()``,
                 ``restart()`` (same ports), ``logs()``, ``running``.
``lab_run``      runs a section as above.

The server is Docker Compose with the lab's ``compose.yaml`` where Docker, Compose and the image
``stonechat:latest`` are there, else the in-process ``stonechat.Server``, and pytest's header says
so. ``LAB_SERVER=docker|inprocess|binary`` decides it by hand; ``binary`` starts
``$STONECHAT_SERVER`` or else ``stonechat-server`` of ``PATH``. A compose file takes its host ports
from ``${NATS_PORT:-4222}`` and ``${MONITOR_PORT:-8222}``. Where its command says ``"-js"``, the other
kinds of server get JetStream too, on a folder that outlives `kill` and `restart`.
"""

from labkit.readme import Readme, ReadmeError, Section
from labkit.runner import LabRun, StepFailedError
from labkit.servers import LabServer, LabServerError, choose_kind, start_server

__all__ = [
    "LabRun",
    "LabServer",
    "LabServerError",
    "Readme",
    "ReadmeError",
    "Section",
    "StepFailedError",
    "choose_kind",
    "start_server",
]
