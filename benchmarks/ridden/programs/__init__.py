"""One module a library; `run` asks the server at an address and asserts what the program is answered."""
