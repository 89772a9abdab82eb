"""The viewer: its data, and the plain JavaScript and CSS that the page holds with it."""
