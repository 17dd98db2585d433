// Package clitest is what the tests of the command lines have in common: an API
// that answers from files ([FakeAPI]), and the reference of all commands, which
// is made from the commands themselves ([WriteCommands]) so that it is never
// out of date ([CheckReference]).
package clitest
