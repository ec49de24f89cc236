"""Records for people, as HTML, in words and in short forms; it knows what it draws (shapes), no record."""
