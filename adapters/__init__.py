"""The edges: each adapter turns one outside format into a Complaint, or a Ticket into its format."""
