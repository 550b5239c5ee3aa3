"""The AI on the other side, each behind the ``Agent`` port."""
