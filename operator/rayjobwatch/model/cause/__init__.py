"""Why a job failed, read off the last lines of its log: exception, message and the user's frame.

window.py     the lines that are kept of a log         streams.py    those of the driver, of each worker and rank apart
frames.py     a frame, and whose it is                 finding.py    what was found at some lines
python.py     Python's tracebacks, Ray's too           groups.py     exception groups
styles.py     rich, IPython, pytest                    jsonlines.py  structured lines
languages.py  exceptions of other languages            native.py     crashes
shells.py     shells, compilers, interpreters          launchers.py  what a launcher tells of its ranks
message.py    messages of several lines                tools.py      reports of tools in words of their own
words.py      what a line's words tell of its role     choice.py     which finding is the cause
"""
