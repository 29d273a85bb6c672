// Before the page is drawn: says that there is JavaScript, so that the menu does not jump.
document.documentElement.classList.add("js");
