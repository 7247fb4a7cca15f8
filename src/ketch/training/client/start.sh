#!/bin/sh
# Starts a container's command as it is, after it has been told where it may go on from:
#   KETCH_RESUME_FROM   the last complete checkpoint in KETCH_CHECKPOINT_DIR; empty when there is none.
#                       What the container's author set it to stays.
#   PYTHONPATH          begins with the folder of ketch_training.py
folder=${0%/*}
PYTHONPATH=$folder${PYTHONPATH:+:$PYTHONPATH}
export PYTHONPATH
if [ -n "$KETCH_CHECKPOINT_DIR" ] && [ -z "${KETCH_RESUME_FROM+set}" ]; then
    for python in python3 python; do
        if command -v "$python" >/dev/null 2>&1; then
            KETCH_RESUME_FROM=$("$python" "$folder/ketch_training.py" latest)
            break
        fi
    done
    export KETCH_RESUME_FROM
    if [ -n "$KETCH_RESUME_FROM" ]; then
        echo "ketch: the last complete checkpoint is $KETCH_RESUME_FROM" >&2
    fi
fi
exec "$@"
