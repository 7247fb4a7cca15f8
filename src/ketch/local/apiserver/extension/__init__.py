"""Other API servers behind this one: who serves which group version, whether they answer, and the way to them.

Law: an APIService in the store says who is asked; this server authenticates and authorizes, then passes requests on
unread and says, by headers and a certificate of its own, for whom they are. Where no other server is registered this
costs one look.
"""
