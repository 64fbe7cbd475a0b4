package lambda

import _ "embed"

// pythonRuntime is a client of the Runtime API that runs a Python handler.
//
//go:embed runtime.py
var pythonRuntime string
