"""One file a tool: a problem and a request come in, an answer goes out.

Each file has `TASKS`, from the name of a quantity to a function
`(Problem, Request) -> Answer`, and does its work as the tool's own pages say.
"""
