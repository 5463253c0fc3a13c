"""Which unit answers, and by when: the rules as data, and what reads them."""
