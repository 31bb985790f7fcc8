package python

import "strings"

// Environment holds the values of the variables that markers ask for (PEP
// 508, "Environment Markers"). Extras are given when a marker is evaluated.
type Environment struct {
	ImplementationName           string // cpython
	ImplementationVersion        string // 3.13.5
	OSName                       string // posix
	PlatformMachine              string // x86_64
	PlatformPythonImplementation string // CPython
	PlatformRelease              string // of the kernel; "" where it is not known
	PlatformSystem               string // Linux
	PlatformVersion              string // of the kernel; "" where it is not known
	PythonFullVersion            string // 3.13.5
	PythonVersion                string // 3.13
	SysPlatform                  string // linux
}

// lookup returns the value of a variable.
func (e Environment) lookup(name string) (string, bool) {
	switch name {
	case "implementation_name":
		return e.ImplementationName, true
	case "implementation_version":
		return e.ImplementationVersion, true
	case "os_name":
		return e.OSName, true
	case "platform_machine":
		return e.PlatformMachine, true
	case "platform_python_implementation":
		return e.PlatformPythonImplementation, true
	case "platform_release":
		return e.PlatformRelease, true
	case "platform_system":
		return e.PlatformSystem, true
	case "platform_version":
		return e.PlatformVersion, true
	case "python_full_version":
		// A Python built from a work tree says "3.14.0a1+", which is no
		// version until something follows.
		if strings.HasSuffix(e.PythonFullVersion, "+") {
			return e.PythonFullVersion + "local", true
		}
		return e.PythonFullVersion, true
	case "python_version":
		return e.PythonVersion, true
	case "sys_platform":
		return e.SysPlatform, true
	}
	return "", false
}
