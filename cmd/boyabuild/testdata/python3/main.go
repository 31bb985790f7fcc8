// Command python3 stands for a Python interpreter in the images of the tests:
// a static program that runs in an empty root filesystem. It takes -m PACKAGE
// or FILE and does what the lines of the file say:
//
//	print TEXT     write a line to stdout
//	import NAME    end as Python does if no such package is installed
//	serve TEXT     answer every HTTP request on $PORT until SIGTERM
//	wait           do nothing until SIGTERM
//	exit N         end
//
// Other lines are Python and do nothing.
package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path"
	"strconv"
	"strings"
	"syscall"
)

const site = "/usr/local/lib/python3.13/dist-packages"

func main() {
	args := os.Args[1:]
	file := ""
	switch {
	case len(args) == 2 && args[0] == "-m":
		file = args[1] + "/__main__.py"
	case len(args) == 1:
		file = args[0]
	default:
		fail("python3: cannot run %q", args)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		fail("python3: can't open file: %v", err)
	}
	for line := range strings.Lines(string(b)) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch word {
		case "print":
			fmt.Println(rest)
		case "import":
			importPackage(rest)
		case "serve":
			serve(rest)
		case "wait":
			stopOnTerm()
			select {}
		case "exit":
			code, _ := strconv.Atoi(rest)
			os.Exit(code)
		}
	}
}

func importPackage(name string) {
	for _, p := range []string{path.Join(site, name, "__init__.py"), path.Join(site, name+".py")} {
		if _, err := os.Stat(p); err == nil {
			return
		}
	}
	fail("ModuleNotFoundError: No module named '%s'", name)
}

func stopOnTerm() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go func() {
		<-stop
		fmt.Println("asked to stop")
		os.Exit(0)
	}()
}

func serve(text string) {
	stopOnTerm()
	l, err := net.Listen("tcp", ":"+os.Getenv("PORT"))
	if err != nil {
		fail("OSError: %v", err)
	}
	fmt.Println("listening on port", os.Getenv("PORT"))
	for {
		c, err := l.Accept()
		if err != nil {
			fail("OSError: %v", err)
		}
		go answer(c, text+"\n")
	}
}

// answer reads the head of one request and answers it.
func answer(c net.Conn, text string) {
	defer c.Close()
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		if strings.TrimSpace(line) == "" {
			break
		}
	}
	fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(text), text)
}

func fail(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	os.Exit(1)
}
