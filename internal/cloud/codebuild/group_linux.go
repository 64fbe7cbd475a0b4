package codebuild

import "syscall"

// attributes have the kernel end a program with the cloud, however that ends.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
