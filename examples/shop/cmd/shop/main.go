// Command shop is the demo system by itself: "shop platform" starts it all in
// the foreground. See package shop.
package main

import (
	"os"

	"grace/examples/shop"
)

func main() {
	os.Exit(shop.Main(os.Args[1:]))
}
