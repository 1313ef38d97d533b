"""The only memory of a run: readings and events come in, one SQLite file goes out.

Writing is `surefoot.record.writer`, reading `surefoot.record.reader`; neither
needs torch.
"""
