// Package doccheck reads the project's documents as a stranger would: it follows their links and takes their commands at
// their word. Tests use it; the program does not.
//
// A fenced block of the language sh is run, and so are the lines of a console block that begin with "$ ". Every block says its
// language, and only those two may hold commands. What cannot be run by a test says so in a comment right before it, and why:
//
//	<!-- not run: needs an OpenCTI of your own -->
//
// A command that runs until it is stopped has a comment that says what it writes when it is ready. It is stopped at the end
// of the document, and has to end in order:
//
//	<!-- run: in the background until "enriching" -->
package doccheck
