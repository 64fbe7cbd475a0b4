//go:build !unix

package cloud

func keepDescriptors() {} // children inherit nothing here that they are not given
