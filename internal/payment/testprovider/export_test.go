package testprovider

// Sign signs webhooks.
var Sign = sign
